"""The model without a framework: configuration, parameters, heads, inputs, outputs, packing, loading and inference."""
