#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * How the programs may be put on an interface, asked of the kernel.
 */

/*
 * May frames be redirected to this interface natively?  A veth takes them only while its
 * peer polls (GRO on, or a program of its own), and loses them in silence otherwise.
 */
bool links_take_frames(unsigned int index);
