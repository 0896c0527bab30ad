"""The endpoints, one module for each kind of response: JSON, HTML, text, probe, discovery."""
