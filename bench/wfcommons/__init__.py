"""Real workflows' shapes (https://wfcommons.org): tasks that do nothing, in the graphs of nine scientific workflows."""
