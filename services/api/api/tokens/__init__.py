"""Bearer tokens: made, listed and revoked by admins, over HTTP."""
