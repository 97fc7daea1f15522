//! AF_PACKET frame I/O for lvs-core: TPACKET_V3 receive ring, batched transmit, offload metadata.
