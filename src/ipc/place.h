#pragma once

#define IPC_RUN_DIR   "/run/rsip"
#define IPC_PLACE_MAX 108 /* room of a socket's name */

/*
 * Where the host daemon of the calling process's network namespace listens by default:
 * hosts that share a machine but not a namespace do not meet.
 */
void ipc_host_place(char path[static IPC_PLACE_MAX]);
