/* --help: all the documentation that the stand-in has. */
#include "standin.h"

static const char help_what[] =
    "standin - a stand-in for a Dragonfly master. A TEST TOOL of df2redis: it is not a server,\n"
    "holds no data, and must never stand where anybody relies on it.\n"
    "\n"
    "usage: standin --capture DIR [options]     serve recorded flows\n"
    "       standin --generate [options]        serve generated flows\n"
    "       standin --generate --write-dfs FILE | --write-resp FILE | --write-capture DIR [options]\n"
    "\n"
    "It speaks the master's side of the DFLY replication protocol (AUTH, PING, REPLCONF, DFLY FLOW,\n"
    "SYNC, STARTSTABLE, REPLICAOFFSET, INFO, SELECT, DUMP, PTTL, QUIT) state by state, with the errors of a real master,\n"
    "as RESP arrays and inline. Standard output: `port=N`, then `ready`; at the end a summary\n"
    "(`final ack flow=I lsn=N` of the newest acks, `sessions=N`, `illegal=N`).\n"
    "\n"
    "Recorded flows:\n"
    "  --capture DIR         DIR/wire/NN.c2s, NN.s2c and timeline.tsv. Bytes up to the recorded STARTSTABLE\n"
    "                        are sent after DFLY SYNC, the others after DFLY STARTSTABLE; then silence.\n"
    "                        Replid, session ids, versions, number of flows are the recorded ones.\n"
    "                        An LSN given with DFLY FLOW is answered PARTIAL if it lies in the recorded\n"
    "                        journal, no more than --backlog entries before its end.\n"
    "  --second-session      sessions after the first also serve the recorded second one: PARTIAL for the\n"
    "                        LSN recorded there, or for an earlier one (then both journals in a row)\n"
    "  --close-at-end        end the connections (FIN) once everything has been sent; both modes\n"
    "\n";

static const char help_generate[] =
    "Generated flows (the same options give the same bytes; key i is on flow i modulo N):\n"
    "  --generate            this mode; a flow is made while it is sent, one blob at a time\n"
    "  --flows N             number of flows, 1\n"
    "  --keys N              keys of all flows together, 1000: key:0000000000 ...\n"
    "  --types LIST          string,hash,zset,list,set with weights, as string=70,hash=30; string\n"
    "  --value-size N        bytes of a string's value, 64: digits and text, LZ4 saves some 40 %\n"
    "  --elements N          elements of a container, 50. Hashes up to 1024 bytes are listpacks (type 16),\n"
    "                        zsets up to 128 members too (17); else types 4, 5; sets 2, lists 18 (8 KiB "
    "nodes).\n"
    "                        Containers are never split into tagged chunks (the captures have those)\n"
    "  --element-size N      bytes of a hash's values and a list's elements, 8 (every fourth is a number)\n"
    "  --expiry MS           expiry of each key, absolute Unix milliseconds, 0 = none\n"
    "  --expiry-spread MS    spread over so many milliseconds more, 0\n"
    "  --seed N              1\n"
    "  --compression KIND    none, lz4 (default), zstd\n"
    "  --blob-size N         bytes gathered for one blob, 65536 (256 to 1048576)\n"
    "  --big-value N         one more string `big:value` of N bytes on flow 0, made piece by piece\n"
    "  --fullsync-journal N  journal blobs a flow inside the full sync, the last two after the cut\n"
    "  --journal-ops N       entries after STARTSTABLE, all flows together, 0. Op 15 markers as real ones\n"
    "  --journal-rate N      ops a second, all flows together, from STARTSTABLE on; 0 = as fast as taken\n"
    "  --journal-kind KIND   set (default; keys of the data set), incr, rpush, mixed (with HSET, SADD, "
    "ZADD,\n"
    "                        DEL, PEXPIREAT, SET PXAT)\n"
    "  --flush-at N          a FLUSHALL with one txid on every flow after N stable entries of that flow\n"
    "  --flush-before-cut    in the first session a FLUSHALL blob before the cut of each flow\n"
    "  --write-dfs FILE      the keys as one Dragonfly snapshot shard file (`-` = stdout), and exit\n"
    "  --write-resp FILE     the keys as SET [PXAT], HSET, ZADD, RPUSH, SADD, PEXPIREAT for redis-cli "
    "--pipe\n"
    "  --with-journal        with --write-resp: the journal's commands after them: the final state\n"
    "  --write-capture DIR   the flows as a capture directory that --capture serves without making anything\n"
    "  Every full sync begins with the same data set and then gives the same journal again, under the\n"
    "  LSNs that follow; a PARTIAL one goes on where it was (within --backlog).\n"
    "\n";

static const char help_present[] =
    "How it presents itself:\n"
    "  --bind ADDR, --port N 127.0.0.1, 0 = any free port\n"
    "  --password P, --user U\n"
    "  --replid HEX          40 digits (generated flows)\n"
    "  --last-master HEX     the id for which DFLY FLOW ... <last-master> <lsn-lsn-...> is granted\n"
    "  --df-version V        AUX df-ver and INFO, df-v1.40.1 (captures have their own)\n"
    "  --greeting 3|4|5      elements of the reply to capa dragonfly\n"
    "  --version-int N       its protocol integer\n"
    "  --plain-ok            +OK to capa dragonfly, as Redis does\n"
    "  --replica-error       -ERR Replicating a replica is unsupported\n"
    "  --loading N           the first N connections get -LOADING, except for AUTH and REPLCONF\n"
    "  --backlog N           entries that a PARTIAL may go back, 8192\n"
    "  --values FILE         answers to DUMP and PTTL: lines DB KEY TTL HEX, or *N for N bytes\n"
    "  --dbs LIST            further databases that INFO keyspace names (of a capture those of its "
    "meta.json)\n"
    "  --close-at-dump N     close the connection of the N-th DUMP instead of answering it\n"
    "  --old-no-partial      always FULL, as masters up to v1.30\n"
    "\n";

static const char help_misbehave[] =
    "How it misbehaves (M counts the bytes of a flow after the FLOW reply, on control all bytes; each may "
    "be\n"
    "given several times and holds for the K-th session: session=K, default 1, 0 = every session):\n"
    "  --slow N              bytes a second, each flow\n"
    "  --split MIN-MAX       random write sizes on flows, one write a turn of the loop, by --seed\n"
    "  --cut-connection flow=N,bytes=M | control,bytes=M    close that connection, and so the session\n"
    "  --truncate-at flow=N,bytes=M     FIN on that flow only; the others stay open\n"
    "  --stall flow=N,bytes=M           send nothing more there\n"
    "  --corrupt flow=N,offset=M,xor=XX change that byte (hex, default ff)\n"
    "  --never-startstable   never answer DFLY STARTSTABLE\n"
    "  --startstable-delay MS  answer late; meanwhile flows go on with journal blobs (SCRIPT FLAGS, to be\n"
    "                        ignored) at --filler-rate bytes a second, 4000000, 0 = none\n"
    "  --bad-token           EOF tokens differ from those announced\n"
    "  --replication-timeout MS  a flow that takes nothing for so long ends the session, 30000, 0 = never\n"
    "\n";

static const char help_report[] =
    "What it reports:\n"
    "  --log FILE            else stderr: `ms=T conn=C flow=F event=...`, one line an event. conn counts "
    "accepted\n"
    "                        connections from 0. Events: accepted, command, session-start, flow, full-sync,\n"
    "                        cut-sent, startstable, stable-sync, ack, flow-end (bytes, time blocked by a "
    "full\n"
    "                        socket, last ack), session-end, closed, stalled, truncated, corrupted ...\n"
    "                        `event=illegal ILLEGAL ...` is what no correct replica does: orders in a wrong\n"
    "                        state, STARTSTABLE before a cut was delivered, CLIENT-VERSION too early, acks "
    "that\n"
    "                        go down, come before stable sync or exceed what was sent ...\n"
    "  --expect-final-acks A,B,...  end as soon as one session's flows have acked exactly these\n"
    "  --timeout S           end with status 1 after S seconds (60 with --expect-final-acks)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 expected acks reached, or SIGTERM/SIGINT; 1 timeout, something ILLEGAL was seen, or it\n"
    "could not run; 2 usage.\n";

void print_help(void)
{
    fputs(help_what, stdout);
    fputs(help_generate, stdout);
    fputs(help_present, stdout);
    fputs(help_misbehave, stdout);
    fputs(help_report, stdout);
}
