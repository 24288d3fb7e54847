"""Values of the configuration that decisions read too, one file for each kind of decision."""
