"""The Python client and the `rewardsmith` command."""
