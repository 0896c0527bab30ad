"""The simulated BlazeMeter API."""
