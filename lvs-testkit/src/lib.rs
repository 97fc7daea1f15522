//! Test tools for lvs-core: frame builders, in-memory FrameIo, a lab of network namespaces.
