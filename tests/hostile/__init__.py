"""Files that are broken or mean harm, and what opens them."""
