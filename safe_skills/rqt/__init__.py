"""The safety panel: what it shows (`panel_model`), its link to the graph, its Qt widgets."""
