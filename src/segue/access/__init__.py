"""Who may do what: identities, roles, workspaces; and what is kept encrypted."""
