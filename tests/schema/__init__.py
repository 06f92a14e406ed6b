"""The OpenAPI document held against the running service by schemathesis: `make schema`."""
