"""What follows from what: plan, states, events and decisions of a run. Pure."""
