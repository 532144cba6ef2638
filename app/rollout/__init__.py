"""Rollout: what the pre-deploy command has the migrator run with: settings, Render's API, the trigger."""
