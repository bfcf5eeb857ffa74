"""How a view becomes an endpoint, and how what is answered looks."""
