/* What the target's errors mean: writer/engine/errors.c. The table itself is in errors.bats, on a real
 * server; here are the words of other versions. */
#include "test.h"

#undef KINDS_MAX /* the parser has one, too */
#include "../../writer/engine/errors.c"

static void is(const char *text, enum err_class want)
{
    if (!EQ(error_class(text, strlen(text)), want))
        printf("  %s\n", text);
}

#define OLD_SCRIPT                                                                                           \
    "ERR Error running script (call to f_c7e2b2d468714581ec7c87f25acc9a69fdc27e3b): @user_script:1: "        \
    "@user_script: 1: "

static void scripts(void)
{
    /* 4.0 to 6.2 */
    is(OLD_SCRIPT "-OOM command not allowed when used memory > 'maxmemory'.", ERR_RETRY);
    is(OLD_SCRIPT "-READONLY You can't write against a read only replica.", ERR_RETRY);
    is(OLD_SCRIPT "-NOREPLICAS Not enough good replicas to write.", ERR_RETRY);
    is(OLD_SCRIPT "-MISCONF Redis is configured to save RDB snapshots, but", ERR_RETRY);
    is(OLD_SCRIPT "The user executing the script can't run this command or subcommand", ERR_FATAL);
    is(OLD_SCRIPT "The user executing the script can't access at least one of the keys", ERR_FATAL);
    is(OLD_SCRIPT "WRONGTYPE Operation against a key holding the wrong kind of value", ERR_DATA);
    is("ERR Error running script (call to f_0): @user_script:1: user_script:1: attempt to compare", ERR_DATA);
    is("ERR Error running script (call to f_0): @user_script:1: @user_script: 1", ERR_DATA);
    is("ERR Error running script (call to f_0): @user_script:1: @user_script: 1: ", ERR_DATA);
    is("@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.", ERR_RETRY);
    is("@user_script: 1: The user executing the script can't run this command or subcommand", ERR_FATAL);
    is("EXECABORT Transaction discarded because of: " OLD_SCRIPT "-OOM command not allowed", ERR_RETRY);
    /* since 7.0 */
    is("ERR The user executing the script can't run this command or subcommand script: da84", ERR_FATAL);
    is("OOM command not allowed when used memory > 'maxmemory'. script: c7e2, on @user_script:1.", ERR_RETRY);
    is("ERR ACL failure in script: User u has no permissions to run the 'append' command script: c7e2",
       ERR_FATAL);
    is("WRONGTYPE Operation against a key holding the wrong kind of value script: c7e2", ERR_DATA);
}

static void counted(void)
{
    struct kinds k = {0};
    const char *list[] = {OLD_SCRIPT "-OOM command not allowed", "OOM command not allowed",
                          "EXECABORT Transaction discarded because of: OOM command not allowed"};
    for (size_t i = 0; i < 3; i++)
        error_count(&k, list[i], strlen(list[i]));
    EQ(k.n, 1);
    EQ_S(k.kind[0].name, "OOM");
}

int main(void)
{
    scripts();
    counted();
    return test_done();
}
