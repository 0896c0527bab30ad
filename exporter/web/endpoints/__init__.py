"""What is served, one module for each form: JSON, HTML, text, probe, discovery, reload."""
