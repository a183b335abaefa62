/* Digest of the sources; native.py refuses a library compiled from other sources. */
const char digest[] = DIGEST;
