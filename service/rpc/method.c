/* method.c: the method table. tests/unit/rpc compares it with the descriptors of proto/. */
#include "service/rpc/method.h"

#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "proto/pyexec_v1.h"

/* Gives the engine's typed function the type of the table. */
#define UNARY(name, Request)                                                                      \
    static void unary_##name(struct engine *engine, const struct engine_caller *caller,           \
                             const ProtobufCMessage *request, engine_done_fn *done, void *ctx)    \
    {                                                                                             \
        engine_##name(engine, caller, (const Pyexec__V1__##Request *)(const void *)request, done, \
                      ctx);                                                                       \
    }

UNARY(create_session, CreateSessionRequest)
UNARY(get_session, GetSessionRequest)
UNARY(list_sessions, ListSessionsRequest)
UNARY(renew_session, RenewSessionRequest)
UNARY(fork_session, ForkSessionRequest)
UNARY(restart_session, RestartSessionRequest)
UNARY(delete_session, DeleteSessionRequest)
UNARY(start_execution, StartExecutionRequest)
UNARY(get_execution, GetExecutionRequest)
UNARY(list_executions, ListExecutionsRequest)
UNARY(interrupt_execution, InterruptExecutionRequest)
UNARY(write_stdin, WriteStdinRequest)
UNARY(stat_file, StatFileRequest)
UNARY(list_files, ListFilesRequest)
UNARY(write_file, WriteFileRequest)
UNARY(make_directory, MakeDirectoryRequest)
UNARY(move_file, MoveFileRequest)
UNARY(delete_file, DeleteFileRequest)
UNARY(get_server_info, GetServerInfoRequest)
UNARY(get_server_stats, GetServerStatsRequest)

#define ROW(service, name, prefix, kind, engine_fn)                 \
    {                                                               \
        "/" service "/" #name, kind, &prefix##_request__descriptor, \
            &prefix##_response__descriptor, engine_fn               \
    }
#define EXECUTION(name, prefix, kind, fn) \
    ROW("pyexec.v1.ExecutionService", name, pyexec__v1__##prefix, kind, fn)
#define SESSION(name, prefix, kind, fn) \
    ROW("pyexec.v1.SessionService", name, pyexec__v1__##prefix, kind, fn)
#define SERVER(name, prefix, kind, fn) \
    ROW("pyexec.v1.ServerService", name, pyexec__v1__##prefix, kind, fn)
#define FILES(name, prefix, kind, fn) \
    ROW("pyexec.v1.FileService", name, pyexec__v1__##prefix, kind, fn)

const struct rpc_method rpc_methods[] = {
    EXECUTION(Execute, execute, &call_type_execute, NULL),
    EXECUTION(Run, run, &call_type_run, NULL),
    EXECUTION(StartExecution, start_execution, &call_type_unary, unary_start_execution),
    EXECUTION(AttachExecution, attach_execution, &call_type_attach, NULL),
    EXECUTION(GetExecution, get_execution, &call_type_unary, unary_get_execution),
    EXECUTION(ListExecutions, list_executions, &call_type_unary, unary_list_executions),
    EXECUTION(InterruptExecution, interrupt_execution, &call_type_unary, unary_interrupt_execution),
    EXECUTION(WriteStdin, write_stdin, &call_type_unary, unary_write_stdin),

    SESSION(CreateSession, create_session, &call_type_unary, unary_create_session),
    SESSION(GetSession, get_session, &call_type_unary, unary_get_session),
    SESSION(ListSessions, list_sessions, &call_type_unary, unary_list_sessions),
    SESSION(RenewSession, renew_session, &call_type_unary, unary_renew_session),
    SESSION(ForkSession, fork_session, &call_type_unary, unary_fork_session),
    SESSION(RestartSession, restart_session, &call_type_unary, unary_restart_session),
    SESSION(DeleteSession, delete_session, &call_type_unary, unary_delete_session),
    SESSION(WatchSessions, watch_sessions, &call_type_watch_sessions, NULL),

    SERVER(GetServerInfo, get_server_info, &call_type_unary, unary_get_server_info),
    SERVER(GetServerStats, get_server_stats, &call_type_unary, unary_get_server_stats),
    SERVER(Ping, ping, &call_type_ping, NULL),

    FILES(StatFile, stat_file, &call_type_unary, unary_stat_file),
    FILES(ListFiles, list_files, &call_type_unary, unary_list_files),
    FILES(ReadFile, read_file, &call_type_read_file, NULL),
    FILES(WriteFile, write_file, &call_type_unary, unary_write_file),
    FILES(MakeDirectory, make_directory, &call_type_unary, unary_make_directory),
    FILES(MoveFile, move_file, &call_type_unary, unary_move_file),
    FILES(DeleteFile, delete_file, &call_type_unary, unary_delete_file),

    ROW("grpc.health.v1.Health", Check, grpc__health__v1__health_check, &call_type_health_check,
        NULL),
    ROW("grpc.health.v1.Health", Watch, grpc__health__v1__health_check, &call_type_health_watch,
        NULL),
    /* The two versions differ in their package alone, so one kind serves both. */
    ROW("grpc.reflection.v1.ServerReflection", ServerReflectionInfo,
        grpc__reflection__v1__server_reflection, &call_type_reflection, NULL),
    ROW("grpc.reflection.v1alpha.ServerReflection", ServerReflectionInfo,
        grpc__reflection__v1alpha__server_reflection, &call_type_reflection, NULL),
};
const size_t rpc_methods_len = sizeof rpc_methods / sizeof *rpc_methods;

const struct rpc_method *rpc_method_find(const char *path, size_t len)
{
    for (size_t i = 0; i < rpc_methods_len; i++) {
        if (strlen(rpc_methods[i].path) == len && memcmp(rpc_methods[i].path, path, len) == 0) {
            return &rpc_methods[i];
        }
    }
    return NULL;
}

bool rpc_service_known(const char *service)
{
    size_t len = strlen(service);
    for (size_t i = 0; i < rpc_methods_len; i++) {
        const char *path = rpc_methods[i].path;
        if (strncmp(path + 1, service, len) == 0 && path[1 + len] == '/') {
            return true;
        }
    }
    return false;
}
