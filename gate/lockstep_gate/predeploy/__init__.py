"""Predeploy: the app's pre-deploy command on Render: has the migrator of this commit run, and asks the gate."""
