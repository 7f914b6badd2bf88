"""GKE: the JobSet is filled in, whatever the arguments are."""

import pytest
import yaml

SLICES = ['vitb', 'gcr.io/me/image', '2', '4', 'tpu-v5p-slice', '2x2x4']

# Of JobSet v1alpha2 and of the parts of Kubernetes that it is made of.
KINDS = {
  *('apiVersion', 'kind', 'metadata', 'name', 'annotations', 'spec'),
  *('failurePolicy', 'maxRestarts', 'rules', 'action', 'onJobFailureReasons'),
  *('replicatedJobs', 'replicas', 'template', 'parallelism', 'completions'),
  *('backoffLimit', 'podFailurePolicy', 'onExitCodes', 'operator', 'values'),
  *('restartPolicy', 'serviceAccountName', 'terminationGracePeriodSeconds'),
  *('nodeSelector', 'containers', 'image', 'args', 'env', 'value', 'ports'),
  *('containerPort', 'resources', 'limits', 'volumeMounts', 'mountPath'),
  *('volumes', 'persistentVolumeClaim', 'claimName', 'csi', 'driver'),
  'volumeAttributes',
}
FREE = ('annotations', 'nodeSelector', 'limits', 'volumeAttributes')


def keys(value):
  if isinstance(value, list):
    return set().union(*map(keys, value))
  if not isinstance(value, dict):
    return set()
  inner = (keys(value[name]) for name in value if name not in FREE)
  return set(value).union(*inner)


def jobset(machine, *arguments):
  """Returns a JobSet, its pods, and their container."""
  done = machine.start('gke_jobset.sh', '--dry-run', *arguments)
  assert done.returncode == 0, done.stderr
  whole = yaml.safe_load(done.stdout)
  assert keys(whole) <= KINDS
  (slices,) = whole['spec']['replicatedJobs']
  pods = slices['template']['spec']['template']
  (container,) = pods['spec']['containers']
  return whole, pods, container


def test_the_jobset_is_filled_in_and_applied(machine):
  whole, pods, container = jobset(machine, *SLICES, *machine.train)
  applied = machine.start('gke_jobset.sh', *SLICES, *machine.train)
  assert yaml.safe_load(applied.stdout) == whole
  assert machine.noted('kubectl') == [['apply', '--filename=-']]
  assert whole['metadata']['name'] == 'vitb'
  (slices,) = whole['spec']['replicatedJobs']
  job = slices['template']['spec']
  counts = slices['replicas'], job['parallelism'], job['completions']
  assert counts == (2, 4, 4)
  selected = pods['spec']['nodeSelector'].values()
  assert {*selected} == {'tpu-v5p-slice', '2x2x4'}
  assert container['image'] == 'gcr.io/me/image'
  assert container['args'] == [*machine.train]
  assert container['resources'] == {'limits': {'google.com/tpu': 4}}
  (rule,) = job['podFailurePolicy']['rules']
  assert rule['onExitCodes']['values'] == [2, 126, 127]  # All else again.


def test_a_run_in_a_bucket_mounts_nothing(machine, monkeypatch):
  cache = 'gs://bucket/compilation'
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', cache)
  _, pods, container = jobset(
    machine, *SLICES, 'train', '--workdir=gs://bucket/run'
  )
  assert (pods['spec']['volumes'], container['volumeMounts']) == ([], [])
  assert pods['metadata']['annotations'] == {}
  assert pods['spec']['serviceAccountName'] == 'default'
  given = {row['name']: row['value'] for row in container['env']}
  assert given['JAX_COMPILATION_CACHE_DIR'] == cache
  assert not {'VIT_JAX', 'PAUSE'} & {*given}


@pytest.mark.parametrize(
  ('name', 'kind'), [('CLAIM', 'persistentVolumeClaim'), ('BUCKET', 'csi')]
)
def test_a_folder_may_be_mounted(machine, monkeypatch, name, kind):
  monkeypatch.setenv(name, 'mine')
  monkeypatch.setenv('SERVICE_ACCOUNT', 'trainer')
  monkeypatch.setenv('NAMESPACE', 'vit')
  _, pods, container = jobset(machine, *SLICES, *machine.train)
  (volume,) = pods['spec']['volumes']
  assert 'mine' in str(volume[kind]) and volume['name'] == 'data'
  assert container['volumeMounts'] == [{'name': 'data', 'mountPath': '/data'}]
  is_bucket = pods['metadata']['annotations'] == {'gke-gcsfuse/volumes': 'true'}
  assert is_bucket == (kind == 'csi')
  assert pods['spec']['serviceAccountName'] == 'trainer'
  machine.start('gke_jobset.sh', *SLICES, *machine.train)
  assert '--namespace=vit' in machine.noted('kubectl')[0]


def test_two_folders_do_not_fit(machine, monkeypatch):
  monkeypatch.setenv('CLAIM', 'a')
  monkeypatch.setenv('BUCKET', 'b')
  done = machine.start('gke_jobset.sh', *SLICES, *machine.train)
  assert done.returncode == 2 and 'CLAIM or BUCKET' in done.stderr
  assert machine.noted('kubectl') == []


@pytest.mark.parametrize(
  'argument',
  ['a"b', 'a\\nb', "it's", '&', 'a b # c', '{CHIPS}', 'é: -', 'a\nb'],
)
def test_arguments_survive_yaml(machine, monkeypatch, argument):
  monkeypatch.setenv('XLA_FLAGS', argument)
  _, _, container = jobset(machine, *SLICES, 'train', f'--workdir={argument}')
  assert container['args'] == ['train', f'--workdir={argument}']
  assert {'name': 'XLA_FLAGS', 'value': argument} in container['env']
