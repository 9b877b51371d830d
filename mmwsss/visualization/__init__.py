"""Pictures and reports of what the tools have made, and of trainings."""
