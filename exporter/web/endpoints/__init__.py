"""The endpoints, one module for each form of answer: JSON, HTML, text, probe, discovery."""
