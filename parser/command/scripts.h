/* Lua for what the target does otherwise than the source. Each runs within one command of one key (or two).
 */
#ifndef DFP_SCRIPTS_H
#define DFP_SCRIPTS_H

/* Dragonfly adds doubles and prints the shortest digits that read back the same, in decimal for exponents
 * from -6 to 20; Redis adds long doubles and prints 17 digits. Lua's numbers are doubles: what Dragonfly got
 * is computed again. The function f(number) gives the text. */
#define LUA_FORMAT                                                                                           \
    "local function f(v) if v==0 then return '0' end "                                                       \
    "local s for p=(math.abs(v)<1e-300 and 1 or 15),17 do s=string.format('%.'..p..'g',v) "                  \
    "if tonumber(s)==v then break end end "                                                                  \
    "local g,a,b,e=s:match('^(-?)(%d)%.?(%d*)e([+-]%d+)$') if not e then return s end e=tonumber(e) "        \
    "if e>=0 and e<21 then return g..a..b..string.rep('0',e-#b) end "                                        \
    "if e<0 and e>=-6 then return g..'0.'..string.rep('0',-e-1)..a..b end "                                  \
    "return g..a..(b~='' and '.'..b or '')..'e'..(e<0 and '-' or '+')..math.abs(e) end "

#define LUA_INCRBYFLOAT                                                                                      \
    LUA_FORMAT                                                                                               \
    "return redis.call('SET',KEYS[1],f(tonumber(redis.call('GET',KEYS[1]) or 0)+tonumber(ARGV[1])),"         \
    "'KEEPTTL')"

#define LUA_HINCRBYFLOAT                                                                                     \
    LUA_FORMAT "return redis.call('HSET',KEYS[1],ARGV[1],"                                                   \
               "f(tonumber(redis.call('HGET',KEYS[1],ARGV[1]) or 0)+tonumber(ARGV[2])))"

/* Masters before v1.38 leave the expiry of an overwritten destination in place when both keys have one. */
#define LUA_OLD_RENAME                                                                                       \
    "local a=redis.call('PTTL',KEYS[1]) local b=redis.call('PTTL',KEYS[2]) "                                 \
    "local r=redis.call('RENAME',KEYS[1],KEYS[2]) "                                                          \
    "if a>0 and b>0 and KEYS[1]~=KEYS[2] then redis.call('PEXPIRE',KEYS[2],b) end return r"

/* HSETEX of Dragonfly: condition, 1 to keep expiries, time or 0, field, value … NX is for each field, FNX and
 * FXX are for all of them; a field whose expiry is kept, but has none, gets the new one. */
#define LUA_HSETEX                                                                                           \
    "local k,c,ms=KEYS[1],ARGV[1],tonumber(ARGV[3]) local function has(f) return "                           \
    "redis.call('HEXISTS',k,f)==1 end "                                                                      \
    "if c=='FNX' or c=='FXX' then for i=4,#ARGV,2 do if has(ARGV[i])~=(c=='FXX') then return 0 end end end " \
    "for i=4,#ARGV,2 do local f=ARGV[i] if c~='NX' or not has(f) then local t=-1 "                           \
    "if ARGV[2]=='1' then t=redis.call('HPEXPIRETIME',k,'FIELDS',1,f) t=t and t[1] or -1 end "               \
    "redis.call('HSET',k,f,ARGV[i+1]) if t>0 then redis.call('HPEXPIREAT',k,t,'FIELDS',1,f) "                \
    "elseif ms>0 then redis.call('HPEXPIREAT',k,ARGV[3],'FIELDS',1,f) end end end return 1"

/* FIELDEXPIRE: time, field …; sets have no such expiries. */
#define LUA_FIELDEXPIRE                                                                                      \
    "if redis.call('TYPE',KEYS[1]).ok~='hash' then return 0 end "                                            \
    "for i=2,#ARGV do redis.call('HPEXPIREAT',KEYS[1],ARGV[1],'FIELDS',1,ARGV[i]) end return 1"

/* DELEX key IFEQ|IFNE value: Dragonfly logs it whether it deleted or not. */
#define LUA_DELEX(op)                                                                                        \
    "local v=redis.call('GET',KEYS[1]) if v and v" op                                                        \
    "ARGV[2] then return redis.call('DEL',KEYS[1]) end return 0"

/* With a selection by type the source may not be at the target; what it overwrites must go all the same. */
#define LUA_RENAME_IF                                                                                        \
    "if redis.call('EXISTS',KEYS[1])==0 then return redis.call('DEL',KEYS[2]) end "                          \
    "return redis.call('RENAME',KEYS[1],KEYS[2])"

#define LUA_RENAMENX_IF                                                                                      \
    "if redis.call('EXISTS',KEYS[1])==0 then return 0 end return redis.call('RENAMENX',KEYS[1],KEYS[2])"

#define LUA_COPY_IF                                                                                          \
    "if redis.call('EXISTS',KEYS[1])==0 then return redis.call('DEL',KEYS[2]) end "                          \
    "return redis.call('COPY',KEYS[1],KEYS[2],'REPLACE')"

/* The arguments are a command that Dragonfly logs also where it failed. What failed there fails here for the
 * same reason, and that is no error; what the target refuses for reasons of its own is one. */
#define LUA_TRY                                                                                              \
    "local r=redis.pcall(unpack(ARGV)) local e=type(r)=='table' and r.err "                                  \
    "if e and (e:find('^WRONGTYPE') or e:find('^ERR no such key') or e:find(' smaller than the target "      \
    "stream') "                                                                                              \
    "or e:find('^ERR One or more scores')) then return 0 end return r"

/* SORT … STORE, GEORADIUS … STORE: Dragonfly logs them also where there was nothing to read, and then leaves
 * the destination as it is; Redis deletes it. */
#define LUA_STORE_IF "if redis.call('EXISTS',KEYS[1])==0 then return 0 end " LUA_TRY

/* GEORADIUS … STORE before 6.2 leaves the destination as it is where there is nothing to read. */
#define LUA_STORE_OR_DELETE                                                                                  \
    "if redis.call('EXISTS',KEYS[1])==0 then return redis.call('DEL',KEYS[2]) end "                          \
    "return redis.call(unpack(ARGV))"

/* XDELEX and XACKDEL before Redis 8.2: KEEPREF, DELREF or ACKED; the group, or nothing for XDELEX; ids. An
 * entry that a group has not read yet, or has pending, is one that ACKED leaves. */
#define LUA_XDELEX                                                                                           \
    "local k,m,own=KEYS[1],ARGV[1],ARGV[2] if redis.call('EXISTS',k)==0 then return 0 end "                  \
    "local function num(a) return a:match('^0*(.*)$') end "                                                  \
    "local function more(a,b) if #a~=#b then return #a>#b end return a>b end "                               \
    "local function unread(id,last) local a,b=id:match('(%d+)-(%d+)') local c,d=last:match('(%d+)-(%d+)') "  \
    "if num(a)~=num(c) then return more(num(a),num(c)) end return more(num(b),num(d)) end "                  \
    "local groups=redis.call('XINFO','GROUPS',k) local n=0 "                                                 \
    "for i=3,#ARGV do local id,go=ARGV[i],true if not id:find('-',1,true) then id=id..'-0' end "             \
    "if own~='' then go=redis.call('XACK',k,own,id)==1 end "                                                 \
    "for _,g in ipairs(groups) do "                                                                          \
    "if go and m=='DELREF' then redis.call('XACK',k,g[2],id) end "                                           \
    "if go and m=='ACKED' and (unread(id,g[8]) or #redis.call('XPENDING',k,g[2],id,id,1)>0) then go=false "  \
    "end end if go then n=n+redis.call('XDEL',k,id) end end return n"

/* HSETEX KEEPTTL of Redis at a Dragonfly: field, value … */
#define LUA_HSETEX_KEEP                                                                                      \
    "for i=1,#ARGV,2 do local t=redis.call('FIELDTTL',KEYS[1],ARGV[i]) "                                     \
    "if t>0 then redis.call('HSETEX',KEYS[1],t,ARGV[i],ARGV[i+1]) "                                          \
    "else redis.call('HSET',KEYS[1],ARGV[i],ARGV[i+1]) end end return 1"

/* Keys of a snapshot, only where the target holds none of the name. The first part of one in several changes
 * nothing: it can be sent again as long as the others wait for its reply. */
#define LUA_ONLY_NEW                                                                                         \
    "if redis.call('EXISTS',KEYS[1])==1 then return redis.error_reply('BUSYKEY Target key name already "     \
    "exists.') end "                                                                                         \
    "return 1"

/* An expiry between ARGV[1] and ARGV[2] is ARGV[3] later than the true one (late.h). Redis 4.0 takes no write
 * behind TIME unless it is told to replicate commands. */
#define LUA_SETTLE                                                                                           \
    "if redis.replicate_commands then redis.replicate_commands() end "                                       \
    "local t=redis.call('PTTL',KEYS[1]) if t<0 then return 0 end "                                           \
    "local n=redis.call('TIME') t=t+n[1]*1000+math.floor(n[2]/1000) "                                        \
    "if t<ARGV[1]-1000 or t>ARGV[2]+1000 then return 0 end "                                                 \
    "return redis.call('PEXPIREAT',KEYS[1],string.format('%.0f',t-ARGV[3]))"

/* SET … PXAT NX before 6.2. */
#define LUA_SET_NEW                                                                                          \
    "if redis.call('SET',KEYS[1],ARGV[1],'NX') then redis.call('PEXPIREAT',KEYS[1],ARGV[2]) return 1 end "   \
    "return false"

/* RESTORE … ABSTTL before 5.0, only where the key is not there. */
#define LUA_RESTORE_NEW                                                                                      \
    "local r=redis.pcall('RESTORE',KEYS[1],0,ARGV[1]) if r.err then return r end "                           \
    "return redis.call('PEXPIREAT',KEYS[1],ARGV[2])"

/* PREPEND, which Redis does not have. */
#define LUA_PREPEND "return redis.call('SET',KEYS[1],ARGV[1]..(redis.call('GET',KEYS[1]) or ''),'KEEPTTL')"

#endif
