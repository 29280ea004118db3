"""One user's check-ins, from Foursquare's pages to rows."""
