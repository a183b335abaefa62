/* Of which sources this was compiled: native.py does not call functions of others. */
const char digest[] = DIGEST;
