#pragma once

/*
 * Program errors: 0 is success, everything else is negative.  System errors are -errno,
 * ours lie below ERR_BASE so that the two never meet.  Protocol answers (the numbers of
 * RFC 3103 appendix A) are values of the protocol and never travel as these codes.
 */
enum err {
	ERR_OK = 0,
	ERR_BASE = -1000,
	ERR_MALFORMED = -1001, /* bytes or text that do not follow their format */
	ERR_RANGE = -1002,     /* a number outside its legal range */
	ERR_NOSPACE = -1003,  /* the caller's buffer or a configured bound is too small */
	ERR_EXISTS = -1004,   /* something of that name or key is there already */
	ERR_NOTFOUND = -1005, /* nothing of that name or key */
	ERR_CONFIG = -1006,   /* configuration refused; the text says where and why */
	ERR_UNREACHABLE = -1007, /* the daemon at the other end does not answer */
	ERR_PROTOCOL = -1008,    /* the other end broke the protocol between us */
	ERR_VERSION = -1009,     /* data of a newer format than this program knows */
	ERR_CORRUPT = -1010,     /* stored data that does not verify */
	ERR_UNSUPPORTED = -1011, /* this kernel or build lacks what is needed */
	ERR_REFUSED = -1012,     /* the other end said no; the text says why */
};

/* Text of a code of ours or of -errno; never NULL, never translated, no newline. */
const char *err_text(int code);
