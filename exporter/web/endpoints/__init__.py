"""The endpoints, one module for each kind of answer: JSON, HTML, text, probe, discovery."""
