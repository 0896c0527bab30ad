"""Read what people write: types, secrets, YAML, environment, checks; knows no setting."""
