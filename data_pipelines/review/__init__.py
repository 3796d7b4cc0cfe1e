"""Static pages on which a person reviews what a store holds, and the signature with which they sign it off."""
