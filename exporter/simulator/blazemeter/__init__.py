"""The simulated BlazeMeter API: an account with its runs, the replies and the routes."""
