#!/usr/bin/perl
# Two data sets that differ in a known way: requests for both servers, and what a check has to find.
#   differences.pl COUNT SOURCE TARGET EXPECTED [field-ttl] [one-db]
# COUNT keys of each kind. SOURCE and TARGET are inline requests for redis-cli --pipe; EXPECTED are lines "kind db key",
# sorted.
use strict;
use warnings;

my ($count, $source, $target, $expected, @has) = @ARGV;
my %has = map { $_ => 1 } @has;
open(my $s, '>', $source) or die "$source: $!";
open(my $t, '>', $target) or die "$target: $!";
my @expected;
my $soon = (time + 100000) * 1000;

sub both { my ($c) = @_; print $s "$c\r\n"; print $t "$c\r\n"; }
sub src { my ($c) = @_; print $s "$c\r\n"; }
sub tgt { my ($c) = @_; print $t "$c\r\n"; }
sub each_side { my ($c, $d) = @_; src($c); tgt($d); }

sub stream {
    my ($k) = @_;
    both("XADD $k 5-$_ f v$_") for 1 .. 5;
    both("XGROUP CREATE $k g 0");
    both("XREADGROUP GROUP g c1 COUNT 3 STREAMS $k >");
}
sub big_zset { my ($k) = @_; both("ZADD $k " . join(' ', map { "$_ m$_" } 1 .. 200)); }
sub long { return 'x' x $_[0]; }

# kind that is found => [what differs => how it is made]
my @kinds = (
    ['missing', 'missing', sub { src("SET $_[0] v") }],
    ['missing', 'missing-hash', sub { src("HSET $_[0] a 1") }],
    ['extra', 'extra', sub { tgt("SET $_[0] v") }],
    ['extra', 'extra-list', sub { tgt("RPUSH $_[0] v") }],
    ['type', 'type', sub { each_side("SET $_[0] v", "RPUSH $_[0] v") }],
    ['type', 'type-set-zset', sub { each_side("SADD $_[0] v", "ZADD $_[0] 1 v") }],
    ['value', 'string', sub { each_side("SET $_[0] value-1", "SET $_[0] value-2") }],
    ['value', 'string-length', sub { each_side("SET $_[0] value", "SET $_[0] value1") }],
    ['value', 'string-empty', sub { each_side("SET $_[0] \"\"", "SET $_[0] v") }],
    ['value', 'string-zero', sub { each_side("SET $_[0] \"\\x00\"", "SET $_[0] \"\\x00\\x00\"") }],
    ['field', 'field-value', sub { both("HSET $_[0] a 1 b 2 c 3"); tgt("HSET $_[0] b 4") }],
    ['field', 'field-missing', sub { both("HSET $_[0] a 1 b 2 c 3"); tgt("HDEL $_[0] c") }],
    ['field', 'field-extra', sub { both("HSET $_[0] a 1 b 2 c 3"); tgt("HSET $_[0] d 1") }],
    ['field', 'field-renamed', sub { each_side("HSET $_[0] a 1 b 2", "HSET $_[0] a 1 B 2") }],
    ['field', 'field-of-many', sub {
        both("HSET $_[0] " . join(' ', map { "f$_ v$_" } 1 .. 700));
        tgt("HSET $_[0] f350 w350");
    }],
    ['field', 'field-extra-of-many', sub {
        both("HSET $_[0] " . join(' ', map { "f$_ v$_" } 1 .. 700));
        tgt("HSET $_[0] f350x w350");
    }],
    ['member', 'member', sub { each_side("SADD $_[0] a b c", "SADD $_[0] a b d") }],
    ['member', 'member-missing', sub { each_side("SADD $_[0] 1 2 3", "SADD $_[0] 1 2") }],
    ['member', 'member-of-many', sub {
        both("SADD $_[0] " . join(' ', map { "m$_" } 1 .. 700));
        tgt("SREM $_[0] m77");
        tgt("SADD $_[0] M77");
    }],
    ['score', 'score-last-bit', sub { each_side("ZADD $_[0] 1 a 2 b", "ZADD $_[0] 1 a 2.0000000000000004 b") }],
    ['score', 'score-minus-zero', sub { big_zset($_[0]); src("ZADD $_[0] 0 m7"); tgt("ZADD $_[0] -0 m7") }],
    ['score', 'score-infinite', sub { each_side("ZADD $_[0] 1e308 a", "ZADD $_[0] +inf a") }],
    ['member', 'zset-member', sub { big_zset($_[0]); tgt("ZADD $_[0] 5 extra") }],
    ['element', 'list-order', sub { each_side("RPUSH $_[0] a b c", "RPUSH $_[0] a c b") }],
    ['element', 'list-duplicate', sub { each_side("RPUSH $_[0] a b", "RPUSH $_[0] a a b") }],
    ['element', 'list-end', sub { each_side("RPUSH $_[0] a b c", "RPUSH $_[0] a b") }],
    ['element', 'list-of-many', sub {
        both("RPUSH $_[0] " . join(' ', map { "element$_" } 1 .. 1500));
        tgt("LSET $_[0] 900 other");
    }],
    ['ttl', 'ttl', sub {
        both("SET $_[0] v");
        each_side("PEXPIREAT $_[0] $soon", "PEXPIREAT $_[0] @{[$soon + 5000]}");
    }],
    ['ttl', 'ttl-none', sub { both("RPUSH $_[0] v"); src("PEXPIREAT $_[0] $soon") }],
    ['ttl', 'ttl-extra', sub { both("HSET $_[0] f v"); tgt("PEXPIREAT $_[0] $soon") }],
    ['entry', 'entry-value', sub { each_side("XADD $_[0] 1-1 f v", "XADD $_[0] 1-1 f w") }],
    ['entry', 'entry-field', sub { each_side("XADD $_[0] 1-1 f v", "XADD $_[0] 1-1 f v g h") }],
    ['entry', 'entry-missing', sub { stream($_[0]); tgt("XDEL $_[0] 5-4") }],
    ['entry', 'entry-id', sub { each_side("XADD $_[0] 1-1 f v", "XADD $_[0] 1-2 f v") }],
    ['stream_id', 'last-id', sub { stream($_[0]); tgt("XSETID $_[0] 9-9") }],
    ['group', 'group-position', sub { stream($_[0]); tgt("XGROUP SETID $_[0] g 5-2") }],
    ['group', 'group-missing', sub { stream($_[0]); src("XGROUP CREATE $_[0] g2 \$") }],
    ['group', 'group-extra', sub { stream($_[0]); tgt("XGROUP CREATE $_[0] g2 \$") }],
    ['consumer', 'consumer', sub { stream($_[0]); src("XGROUP CREATECONSUMER $_[0] g idle") }],
    ['consumer', 'consumer-extra', sub { stream($_[0]); tgt("XGROUP CREATECONSUMER $_[0] g idle") }],
    ['pending', 'pending-missing', sub { stream($_[0]); tgt("XACK $_[0] g 5-2") }],
    ['pending', 'pending-consumer', sub { both("XGROUP CREATE $_[0] g 0 MKSTREAM"); both("XADD $_[0] 1-1 f v");
        both("XGROUP CREATECONSUMER $_[0] g c1"); both("XGROUP CREATECONSUMER $_[0] g c2");
        each_side("XREADGROUP GROUP g c1 STREAMS $_[0] >", "XREADGROUP GROUP g c2 STREAMS $_[0] >") }],
    ['pending', 'pending-deliveries', sub { stream($_[0]); src("XCLAIM $_[0] g c1 0 5-1") }],
);
push @kinds, ['field_ttl', 'field-ttl', sub {
    both("HSET $_[0] a 1 b 2");
    both("HPEXPIREAT $_[0] $soon FIELDS 1 a");
    tgt("HPEXPIREAT $_[0] @{[$soon + 60000]} FIELDS 1 a");
}], ['field_ttl', 'field-ttl-none', sub { both("HSET $_[0] a 1 b 2"); src("HPEXPIREAT $_[0] $soon FIELDS 1 b") }]
    if $has{'field-ttl'};

# What is stored in another way, or differs within what is allowed, is the same.
my @same = (
    ['hash', sub { both("HSET $_[0] a 1 b 2"); src("HSET $_[0] l " . long(100)); src("HDEL $_[0] l") }],
    ['hash-order', sub { each_side("HSET $_[0] a 1 b 2 c 3", "HSET $_[0] c 3 b 2 a 1") }],
    ['set', sub { both("SADD $_[0] 1 2 3"); tgt("SADD $_[0] x"); tgt("SREM $_[0] x") }],
    ['zset', sub { both("ZADD $_[0] 1 a 2.5 b"); tgt("ZADD $_[0] 1 " . long(100)); tgt("ZREM $_[0] " . long(100)) }],
    ['score', sub { each_side("ZADD $_[0] 0.1 a", "ZADD $_[0] 0.1000000000000000055 a") }],
    ['string', sub { src("SET $_[0] 12345"); tgt("SET $_[0] 123"); tgt("APPEND $_[0] 45") }],
    ['list', sub { both("RPUSH $_[0] a b c"); tgt("LPUSH $_[0] " . long(9000)); tgt("LPOP $_[0]") }],
    ['stream', sub { stream($_[0]); tgt("XCLAIM $_[0] g c1 0 5-1 RETRYCOUNT 1") }],
    ['ttl', sub { both("SET $_[0] v"); each_side("PEXPIREAT $_[0] $soon", "PEXPIREAT $_[0] @{[$soon + 900]}") }],
    ['missing', sub { each_side("SET $_[0] v PX 1", "PING") }],
);

for my $n (1 .. $count) {
    for my $kind (@kinds) {
        my ($found, $name, $make) = @$kind;
        my $key = "$name:$n";
        $make->($key);
        push @expected, "$found 0 $key";
    }
    $_->[1]->("same-$_->[0]:$n") for @same;
}
if (!$has{'one-db'}) {
    for my $n (1 .. $count) {
        each_side("SELECT 0", "SELECT 5");
        both("SET wrong-db:$n v");
        push @expected, "missing 0 wrong-db:$n", "extra 5 wrong-db:$n";
    }
}
close($s) or die;
close($t) or die;
open(my $e, '>', $expected) or die;
print $e map { "$_\n" } sort @expected;
close($e) or die;
