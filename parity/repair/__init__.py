"""The smallest set of nodes to keep at a higher precision: searched, confirmed on engines, written down."""
