"""From readings to the bytes of `/metrics`: catalogue, mapping, exposition, own metrics."""
