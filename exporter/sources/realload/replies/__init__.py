"""The replies of the Remote User API, cut down to the fields that are wanted."""
