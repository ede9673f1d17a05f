"""Files that are whole and proven, or absent."""
