/* fake_world.h: a launcher, its zygotes and their sessions in threads, for tests of the engine: they
 * speak the frames and run no Python. What a session does is the code that it is sent: commands
 * separated by ';':
 *
 *   out TEXT, err TEXT   write to a stream, with a mark before (TEXT to the next ';')
 *   many N               N bytes to stdout
 *   wait                 until an interrupt: outcome INTERRUPTED
 *   swallow              until the kill, whatever comes
 *   background TEXT      a BACKGROUND frame
 *   display N            a display of N bytes
 *   input                asks for input, reads one line of stdin and writes it to stdout
 *   slurp                writes stdin up to its end to stdout
 *   error TEXT           outcome ERROR with this exc_type
 *   descendants          says that something lives on
 *   late TEXT            writes after DONE
 *   exit N, signal N     the process ends so, without DONE
 *   mute                 never STARTED, until the kill
 *   shut                 closes the control socket and lives on
 *   frame N              a frame of this type
 *   short                a frame without a fence
 *   torn                 half a frame, then nothing until the kill
 *   wrong                a DONE of another run
 *   far                  a mark beyond everything written */
#ifndef PYEXEC_TESTS_UNIT_SESSION_FAKE_WORLD_H
#define PYEXEC_TESTS_UNIT_SESSION_FAKE_WORLD_H

#include <stdbool.h>

struct fake_world;

/* *ret_fd is the daemon's end of the launcher's socket. */
struct fake_world *fake_world_new(int *ret_fd);
/* After the daemon's end was closed: joins every thread. */
void fake_world_free(struct fake_world *world);

/* From now on SPAWNs fail with EAGAIN; READY does not come; zygotes exit at once. */
void fake_world_fail_spawns(struct fake_world *world, bool on);
void fake_world_hold_ready(struct fake_world *world, bool on);
/* Kills the current zygote: its sessions go to the launcher. */
void fake_world_kill_zygote(struct fake_world *world);
/* Kills a session's process from outside (the spare that was forked last, for instance). */
void fake_world_kill_last(struct fake_world *world);
unsigned fake_world_spawned(struct fake_world *world);
unsigned fake_world_living(struct fake_world *world);
unsigned fake_world_zygotes(struct fake_world *world);

#endif
