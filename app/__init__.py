"""The app: users and organisations over HTTP, on a schema it never changes."""
