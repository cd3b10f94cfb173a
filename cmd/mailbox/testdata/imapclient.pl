# Keeps a copy of a mailbox with Mail::IMAPClient; called by TestPerlIMAPClient as
# "perl imapclient.pl PORT CA PASSWORD CACHE [PLAN]". It does what the plan says on
# the server, brings the copy up to date, and prints what is in it.

use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use IO::Socket::SSL;
use Mail::IMAPClient;
use Storable;

my ($port, $ca, $password, $cache_file, $plan) = @ARGV;
my $cache = -e $cache_file ? retrieve($cache_file) : {};
my $client = Mail::IMAPClient->new(
    Server => 'localhost', Port => $port, User => 'alice@home.example', Password => $password,
    Starttls => [SSL_ca_file => $ca, SSL_verify_mode => SSL_VERIFY_PEER, SSL_verifycn_name => 'localhost'],
    Authmechanism => 'PLAIN', Compress => 1, Uid => 1, Peek => 1, Maxcommandlength => 8000,
) or die "connect: $@";
done($client->tag_and_run('ENABLE UTF8=ACCEPT'), 'enable');

sub done {
    my ($result, $what) = @_;
    die "$what: " . $client->LastError unless defined $result;
    return $result;
}

sub slurp {
    my ($file) = @_;
    local $/;
    open my $in, '<:raw', $file or die "$file: $!";
    return <$in>;
}

sub uid_of {
    my ($folder, $digest) = @_;
    my ($uid) = grep { $cache->{$folder}{$_}{digest} eq $digest } keys %{ $cache->{$folder} };
    return $uid;
}

sub carry_out {
    my ($verb, $folder, $digest, $to, $file) = @_;
    return done($client->create($folder), 'create') if $verb eq 'create';
    # append_file does not know that the connection is compressed.
    return done($client->append_string($folder, slurp($file), $to), 'append') if $verb eq 'append';
    done($client->select($folder), 'select') if ($client->Folder // '') ne $folder;
    my $uid = uid_of($folder, $digest);
    return done($client->delete_message($uid), 'delete') if $verb eq 'delete';
    return done($client->move($to, $uid), 'move') if $verb eq 'move';
    return done($client->store($uid, ($verb eq 'flag' ? '+' : '-') . "FLAGS.SILENT ($to)"), 'store');
}

sub sync {
    my ($folder) = @_;
    done($client->select($folder), 'select');
    my $flags = done(scalar $client->fetch_hash('FLAGS'), 'fetch');
    my $known = $cache->{$folder} ||= {};
    delete $known->{$_} for grep { !$flags->{$_} } keys %$known;
    for my $uid (keys %$flags) {
        $known->{$uid}{flags} = join ' ', sort grep { $_ ne '\\Recent' } split ' ', $flags->{$uid}{FLAGS};
        $known->{$uid}{digest} //= substr sha256_hex(done($client->message_string($uid), 'fetch')), 0, 16;
    }
}

if ($plan) {
    open my $lines, '<', $plan or die $!;
    while (<$lines>) {
        chomp;
        carry_out(split /\t/);
    }
    done($client->select('INBOX'), 'select');
    done($client->expunge, 'expunge');
}
my @folders = @{ done(scalar $client->folders, 'folders') };
sync($_) for @folders;
$client->logout;
store $cache, $cache_file;
for my $folder (@folders) {
    print "$folder\t\t\n";
    print "$folder\t$_->{digest}\t$_->{flags}\n" for values %{ $cache->{$folder} };
}
