"""The vendors: one package each, behind one protocol."""
