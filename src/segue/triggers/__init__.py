"""What starts runs: webhooks that are checked and kept, schedules, events, and the ends of other runs."""
