/* Names for people. */
#include "client/session.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const char *name(const char *const *names, size_t n, unsigned int i)
{
	return i < n && names[i] ? names[i] : "unknown";
}

const char *rsip_lib_version(void)
{
	return RSIP_VERSION;
}

const char *rsip_kind_name(enum rsip_kind kind)
{
	static const char *const names[] = {
		[RSIP_RSA_IP] = "rsa-ip",
		[RSIP_RSAP_IP] = "rsap-ip",
		[RSIP_RSIPSEC] = "rsipsec",
		[RSIP_LISTEN] = "listen",
		[RSIP_LISTEN_IKE] = "listen-ike",
	};

	return name(names, LENGTH(names), kind);
}

const char *rsip_tunnel_name(enum rsip_tunnel tunnel)
{
	static const char *const names[] = {
		[RSIP_IPIP] = "ipip",
		[RSIP_GRE] = "gre",
		[RSIP_L2TP] = "l2tp",
	};

	return name(names, LENGTH(names), tunnel);
}

/* The words of RFC 3103 appendix D where it has one. */
const char *rsip_state_text(enum rsip_state state)
{
	static const char *const names[] = {
		[RSIP_UNREGISTERED] = "Unregistered",
		[RSIP_REGISTERING] = "Registration Pending",
		[RSIP_CLEARING] = "Clearing Pending",
		[RSIP_REGISTERED] = "Registered",
		[RSIP_BARE_QUERYING] = "Registered Query Pending",
		[RSIP_BARE_DEREGISTERING] = "Registered De-registration Pending",
		[RSIP_BARE_ASSIGNING] = "Assignment Pending",
		[RSIP_ASSIGNED] = "Assigned",
		[RSIP_BOUND_QUERYING] = "Assigned Query Pending",
		[RSIP_BOUND_DEREGISTERING] = "Assigned De-registration Pending",
		[RSIP_BOUND_ASSIGNING] = "Assigned Assignment Pending",
		[RSIP_EXTENDING] = "Extension Pending",
		[RSIP_FREEING] = "Free Pending",
	};

	return name(names, LENGTH(names), state);
}

const char *rsip_failure_text(enum rsip_failure failure)
{
	static const char *const texts[] = {
		[RSIP_FAIL_NONE] = "done",
		[RSIP_FAIL_REFUSED] = "refused by the gateway",
		[RSIP_FAIL_TIMEOUT] = "no answer from the gateway",
		[RSIP_FAIL_LOST] = "the registration or binding ended meanwhile",
		[RSIP_FAIL_UNUSABLE] = "the grant can't be used and was given back",
		[RSIP_FAIL_POLICY] = "the gateway's flow policy asks for more detail",
		[RSIP_FAIL_UNREGISTERED] = "not registered",
		[RSIP_FAIL_CANCELLED] = "cancelled by a de-registration",
		[RSIP_FAIL_MEMORY] = "out of memory",
	};

	return name(texts, LENGTH(texts), failure);
}

const char *rsip_result_text(int result)
{
	static const char *const texts[] = {
		[-RSIP_OK] = "done",
		[-RSIP_ERR_FULL] = "too many requests or bindings",
		[-RSIP_ERR_INVALID] = "an argument that no request can carry",
		[-RSIP_ERR_MEMORY] = "out of memory",
		[-RSIP_ERR_STATE] = "not in this state",
		[-RSIP_ERR_NOTFOUND] = "no such binding",
	};

	return name(texts, LENGTH(texts), result <= 0 ? (unsigned int)-result : 1000);
}

const char *rsip_error_text(uint16_t error)
{
	const char *text = rsip_error_name(error);

	return text ? text : "unknown error";
}
