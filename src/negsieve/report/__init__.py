"""Pages with pictures, made from run directories alone."""
