"""Functions that run in the peer only: TensorFlow may be imported here, and only here.

One module per subject; see `peer.Peer.call`.
"""
