"""Inside the guest process."""
