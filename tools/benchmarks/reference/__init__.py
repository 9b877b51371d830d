"""The methods once more, as their equations read: no step is left out or joined."""
