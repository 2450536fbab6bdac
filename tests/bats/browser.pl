#!/usr/bin/env perl
# Look at a page with headless Chromium, over its debugging protocol (by a pipe: --remote-debugging-pipe).
#
#   browser.pl [--dark] [--size WxH] URL [ACTION…]
#
# until JS       wait until it is true (30 seconds at most)
# run FILE       run a script in the page
# print JS       print its value (a promise's is waited for), text as it is, the rest as JSON
# type TEXT      type into what has the focus
# shot FILE      a picture of the whole page
#
# Actions are done in their order. Messages of the console that are errors, exceptions, and requests to elsewhere than
# the page's own origin are printed to standard error; with any the status is 3. Status 1: an action failed.
use strict;
use warnings;
use JSON::PP;
use MIME::Base64;
use IO::Select;
use POSIX ();
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);

my ($dark, $size) = (0, '1280x900');
while (@ARGV && $ARGV[0] =~ /^--/) {
    my $o = shift;
    if ($o eq '--dark') { $dark = 1 }
    elsif ($o eq '--size') { $size = shift }
    else { die "unknown option $o\n" }
}
my $url = shift or die "usage: browser.pl [--dark] [--size WxH] URL [ACTION…]\n";
my ($origin) = $url =~ m{^(https?://[^/]+)} or die "no URL: $url\n";
my ($width, $height) = $size =~ /^(\d+)x(\d+)$/ or die "no size: $size\n";

# ---- the browser: it reads what we write from its descriptor 3, and answers on 4 ----

my $profile = tempdir();
pipe(my $its_in, my $to) or die;
pipe(my $from, my $its_out) or die;
my $pid = fork // die;
if ($pid == 0) {
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null' unless $ENV{BROWSER_DEBUG};
    my ($r, $w) = (POSIX::dup(fileno $its_in), POSIX::dup(fileno $its_out)); # neither is 3 or 4 now
    $r = POSIX::dup($r) while $r < 5;
    $w = POSIX::dup($w) while $w < 5;
    POSIX::dup2($r, 3);
    POSIX::dup2($w, 4);
    POSIX::close($_) for 5 .. 40;
    $^F = 10;
    no warnings 'exec';
    exec 'chromium', '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
        '--disable-background-networking', '--remote-debugging-pipe', "--user-data-dir=$profile",
        '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', 'about:blank';
    POSIX::_exit(127);
}
close $its_in;
close $its_out;
$SIG{PIPE} = 'IGNORE';

END {
    my $status = $?;
    if ($pid) {
        syswrite $to, qq({"id":0,"method":"Browser.close"}\0);
        for (1 .. 50) { last if waitpid($pid, POSIX::WNOHANG()) != 0; select undef, undef, undef, 0.1 }
        kill 'KILL', $pid;
        remove_tree($profile, { error => \my $left }); # a process of it may still be writing
    }
    $? = $status;
}

my ($serial, $buffer, $session, @faults) = (0, '', undef);
my $json = JSON::PP->new->utf8->allow_nonref->canonical;

sub noticed {
    my ($m) = @_;
    my ($name, $p) = ($m->{method} // '', $m->{params});
    if ($name eq 'Runtime.exceptionThrown') {
        my $e = $p->{exceptionDetails};
        push @faults, 'exception: ' . ($e->{exception}{description} // $e->{text});
    } elsif ($name eq 'Runtime.consoleAPICalled' && $p->{type} =~ /^(error|assert)$/) {
        push @faults, 'console: ' . join ' ', map { $_->{value} // $_->{description} // '' } @{ $p->{args} };
    } elsif ($name eq 'Log.entryAdded' && $p->{entry}{level} eq 'error') {
        push @faults, "log: $p->{entry}{text} " . ($p->{entry}{url} // '');
    } elsif ($name eq 'Network.requestWillBeSent' && $p->{request}{url} !~ m{^(\Q$origin\E(/|$)|data:)}) {
        push @faults, "request: $p->{request}{url}";
    }
}

sub message { # of the browser, within so many seconds
    my ($end) = @_;
    while ($buffer !~ /\0/) {
        my $left = $end - time;
        die "the browser does not answer\n" if $left <= 0 || !IO::Select->new($from)->can_read($left);
        sysread($from, $buffer, 65536, length $buffer) or die "the browser has ended\n";
    }
    my ($line, $rest) = split /\0/, $buffer, 2;
    $buffer = $rest;
    return $json->decode($line);
}

sub call {
    my ($method, %params) = @_;
    my $id = ++$serial;
    my %m = (id => $id, method => $method, params => \%params);
    $m{sessionId} = $session if $session;
    print {$to} $json->encode(\%m), "\0";
    $to->flush;
    my $end = time + 60;
    while (1) {
        my $m = message($end);
        if (($m->{id} // 0) == $id) {
            die "$method: $m->{error}{message}\n" if $m->{error};
            return $m->{result};
        }
        noticed($m);
    }
}

sub value {
    my ($js) = @_;
    my $r = call('Runtime.evaluate', expression => $js, awaitPromise => JSON::PP::true, returnByValue => JSON::PP::true);
    die "$js: " . ($r->{exceptionDetails}{exception}{description} // 'failed') . "\n" if $r->{exceptionDetails};
    return $r->{result}{value};
}

# ---- the page, and what to do with it ----

my $target = call('Target.createTarget', url => 'about:blank')->{targetId};
$session = call('Target.attachToTarget', targetId => $target, flatten => JSON::PP::true)->{sessionId};
call("$_.enable") for qw(Page Runtime Log Network);
call('Emulation.setEmulatedMedia', features => [{ name => 'prefers-color-scheme', value => $dark ? 'dark' : 'light' }]);
call('Emulation.setDeviceMetricsOverride', width => $width + 0, height => $height + 0, deviceScaleFactor => 1, mobile => JSON::PP::false);
call('Page.navigate', url => $url);

sub slurp {
    open my $f, '<:encoding(UTF-8)', $_[0] or die "$_[0]: $!\n";
    local $/;
    return <$f>;
}

while (@ARGV) {
    my ($action, $what) = (shift, shift);
    die "$action needs something\n" unless defined $what;
    utf8::decode($what);
    if ($action eq 'until') {
        my $end = time + 30;
        until (eval { value("Boolean($what)") }) {
            die "not within time: $what\n" if time > $end;
            select undef, undef, undef, 0.1;
        }
    } elsif ($action eq 'run') {
        value(slurp($what) . "\n;0");
    } elsif ($action eq 'print') {
        my $v = value($what);
        print ref $v || !defined $v ? $json->encode($v) : do { my $t = "$v"; utf8::encode($t); $t }, "\n";
    } elsif ($action eq 'type') {
        call('Input.insertText', text => $what);
    } elsif ($action eq 'shot') {
        my $m = call('Page.getLayoutMetrics')->{cssContentSize};
        my $png = call('Page.captureScreenshot', captureBeyondViewport => JSON::PP::true,
            clip => { x => 0, y => 0, width => $width + 0, height => $m->{height} + 0, scale => 1 })->{data};
        open my $f, '>', $what or die "$what: $!\n";
        binmode $f;
        print $f decode_base64($png);
        close $f;
    } else {
        die "unknown action $action\n";
    }
}
binmode STDERR, ':encoding(UTF-8)';
print STDERR "$_\n" for @faults;
exit(@faults ? 3 : 0);
