"""The BlazeMeter provider."""
