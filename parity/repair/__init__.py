"""The smallest set of nodes to keep at a higher precision: searched on forecasts, confirmed on engines, written down."""
